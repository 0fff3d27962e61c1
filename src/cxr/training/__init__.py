"""The loop and what it needs: state, optimizer, learning rate, log, saving."""
