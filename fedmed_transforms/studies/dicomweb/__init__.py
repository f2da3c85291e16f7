"""Queries DICOMweb servers, fetches studies from them, and stores results on them."""
