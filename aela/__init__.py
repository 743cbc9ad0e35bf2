"""AELA: learns, from scratch and from video alone, to say the name of what it sees."""
