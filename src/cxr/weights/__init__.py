"""Files of weights from anywhere: what a file is, what it holds, and which of its tensors is which of ours."""
