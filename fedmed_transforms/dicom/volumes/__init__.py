"""Splits slices that share positions into volumes: time points, echoes, b-values, acquisitions, kinds of images."""
