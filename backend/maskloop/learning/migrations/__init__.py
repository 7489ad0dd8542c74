"""Alembic's environment and the versions of the feedback database."""
