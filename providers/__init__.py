"""E-mail providers: what they need, how they are asked, and what their answers mean."""
