"""The console command ``fedmed``: the commands of MONAI and of the packages under one name."""
