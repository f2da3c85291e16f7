"""The evaluation of networks: metrics of classification and segmentation, their intervals, and inferers."""
