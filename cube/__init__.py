"""What a cell is, where it is stored, what every layer means; and how sources become inputs."""
