from .contrastive import ContrastiveLoss as ContrastiveLoss
from .facmic import FACMICLoss as FACMICLoss
from .federation import Federation as Federation
from .lmmd import LMMDLoss as LMMDLoss
from .site_algo import SiteAlgo as SiteAlgo
