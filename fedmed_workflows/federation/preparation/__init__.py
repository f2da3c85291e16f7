"""Steps before round 1: whose features the sites align to, and whether DICOM files still hold identifiers."""
