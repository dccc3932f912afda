"""bioRxiv and medRxiv, through their JSON API."""
