"""`python -m crossdock.testing.world --seeds 1..1000`: plays worlds, and says what was reached and what broke."""

from crossdock.testing.world.command import main

if __name__ == "__main__":
    raise SystemExit(main())
