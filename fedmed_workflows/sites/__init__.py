"""The sites of a federation: the images of each site, their split, and the datasets that read them."""
