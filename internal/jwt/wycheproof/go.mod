module github.com/coatcheck/coatcheck/internal/jwt/wycheproof

go 1.26.0

require (
	github.com/coatcheck/coatcheck v0.0.0
	github.com/google/wycheproof v0.0.0-20191219022705-2196000605e4
)

replace github.com/coatcheck/coatcheck => ../../../
