"""What the proof of export/overflow.py rests on: products, additions, intervals."""
