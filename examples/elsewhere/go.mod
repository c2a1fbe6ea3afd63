module example.com/elsewhere

go 1.26.0

require github.com/coatcheck/coatcheck v0.0.0

replace github.com/coatcheck/coatcheck => ../..
