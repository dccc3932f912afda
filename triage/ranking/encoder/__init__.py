"""Text to three vectors: TF-IDF, LSA, and LSA with WordLlama. Begin with `text_encoder`."""
