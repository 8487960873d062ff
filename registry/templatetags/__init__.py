"""What the admin's own templates ask for."""
