"""Files of weights from anywhere: what a file is, what it holds, which of its tensors is which of ours."""
