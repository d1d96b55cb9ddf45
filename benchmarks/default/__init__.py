"""The bench that decides the default: tasks × methods, tuned alike, read once on the test rows."""
