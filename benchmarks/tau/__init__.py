"""Do the scores of `medtl rank` foretell what fine-tuning reaches? The parts of the program beside this folder."""
