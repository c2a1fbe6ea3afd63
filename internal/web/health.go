package web

import (
	"net/http"

	"github.com/coatcheck/coatcheck/internal/revocation"
)

// A probe is what healthy and ready servers answer.
type probe struct {
	Status string `json:"status" about:"ok"`
}

// getHealth answers as long as the process does.
func (s *Server) getHealth(x *exchange) error {
	return writeJSON(x, http.StatusOK, probe{Status: "ok"})
}

// getReady answers whether this node may be sent requests: it is not about to
// stop, its store can be read and written, it knows of every end, and its clock is
// right. Why not is for the log.
func (s *Server) getReady(x *exchange) error {
	if s.stopping() {
		return revocation.ErrStopping
	}
	if err := s.Log.Ready(x.Context()); err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, probe{Status: "ok"})
}
