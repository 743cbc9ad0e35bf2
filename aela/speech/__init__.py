"""Spoken words to codes and back: two autoencoders and a voice, learned from scratch."""
