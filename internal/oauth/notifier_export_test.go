package oauth

// NewNotifier lets tests choose what calls lead to.
var NewNotifier = newNotifier
