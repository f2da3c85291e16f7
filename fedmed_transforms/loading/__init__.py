"""Loading: files of every format become tensors with true values and a true affine."""
