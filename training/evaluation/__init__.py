"""From a checkpoint, or saved predictions, and prepared data to scores under named profiles."""
