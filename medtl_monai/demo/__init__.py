"""The main job from end to end on small data: ``medtl demo``."""
