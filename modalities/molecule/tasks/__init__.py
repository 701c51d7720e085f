"""Training tasks on molecules: each makes records with turns, which `unitok.data` reads as they are."""
