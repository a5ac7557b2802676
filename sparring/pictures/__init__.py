"""What a person looks at: sample grids, curves and the film of a run, drawn with Pillow alone."""
