"""What the service knows and decides, without Flask and without the environment."""
