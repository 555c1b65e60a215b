"""The application's side of the platform."""
