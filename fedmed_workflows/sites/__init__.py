"""Sites: the images that each site has, how they are split, and how the site's datasets read them."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__)
