"""What an embedding raster holds, seen without labels: projections, clusters, similarity. Arrays in, arrays out."""
