"""What every request passes: who may ask, how much, how fast; and what is told about it afterwards."""
