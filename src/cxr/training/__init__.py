"""The loop and what it needs: state, optimiser, learning rate, log, saving."""
