"""Finds the studies of folders and DICOMweb servers, and the series of each study to process."""
