"""The deep-SDM as a module: encoders, fusion, species; ensembles of it and their checkpoints."""
