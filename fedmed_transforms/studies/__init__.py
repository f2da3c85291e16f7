"""Studies: the series of a study to process, in folders and on DICOMweb servers."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
