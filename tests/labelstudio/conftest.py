from labelstudio.workers import start_discs

__all__ = ["start_discs"]
