"""What learns: classifier, loss, the loop, prediction, checkpoints."""
