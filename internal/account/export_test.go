package account

// CountHashes calls made for every hash that the directory makes.
func (d *Directory) CountHashes(made func(HashParameters)) { d.hasher.made = made }
