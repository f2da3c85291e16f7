"""DICOMweb: queries, fetched studies and stored results."""
