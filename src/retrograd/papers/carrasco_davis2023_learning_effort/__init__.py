"""Carrasco-Davis, Masís & Saxe 2023, arXiv:2310.19919."""
