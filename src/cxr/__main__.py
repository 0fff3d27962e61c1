"""Run the command line with `python -m cxr`, as `torchrun -m cxr` does."""

from cxr.cli import main

if __name__ == "__main__":
    main()
