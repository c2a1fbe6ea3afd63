package web

// submitName changes the person's name.
func (s *Server) submitName(x *exchange) error {
	in, err := readFields(x, "name")
	if err != nil {
		return err
	}
	if _, err := s.rename(x, in["name"]); err != nil {
		return s.accountAgain(x, in, err, func(v *accountView) *form { return &v.Profile })
	}
	return seeOther(x, home+"?done=name")
}

// submitEmail mails a link to the address that the person wants to have.
func (s *Server) submitEmail(x *exchange) error {
	in, err := readFields(x, "email", "password")
	if err != nil {
		return err
	}
	u, err := s.account(x)
	if err != nil {
		return err
	}
	if err := s.Accounts.ChangeEmail(x.Context(), u, in["email"], in["password"], x.from()); err != nil {
		return s.accountAgain(x, in, err, func(v *accountView) *form { return &v.Email })
	}
	return seeOther(x, home+"?done=email")
}

// submitVerification mails a link that proves the person's address.
func (s *Server) submitVerification(x *exchange) error {
	u, err := s.account(x)
	if err != nil {
		return err
	}
	if err := s.Accounts.SendVerification(x.Context(), u, x.from()); err != nil {
		return s.accountAgain(x, nil, err, func(v *accountView) *form { return &v.Trouble })
	}
	return seeOther(x, home+"?done=verification")
}

// submitPassword changes the person's password.
func (s *Server) submitPassword(x *exchange) error {
	in, err := readFields(x, "current_password", "new_password", "end_others")
	if err != nil {
		return err
	}
	if err := s.changePassword(x, in["current_password"], in["new_password"], in["end_others"] != ""); err != nil {
		return s.accountAgain(x, in, err, func(v *accountView) *form { return &v.Password })
	}
	return seeOther(x, home+"?done=password")
}

// submitEnd ends one of the person's sessions.
func (s *Server) submitEnd(x *exchange) error {
	here, err := s.endOwn(x)
	switch {
	case err != nil:
		return err
	case here:
		return seeOther(x, "/signed-out")
	}
	return seeOther(x, home+"?done=ended")
}

// submitEndOthers ends all of the person's sessions but this one.
func (s *Server) submitEndOthers(x *exchange) error {
	if _, err := s.Sessions.EndOthers(x.Context(), x.holder, x.from()); err != nil {
		return err
	}
	return seeOther(x, home+"?done=others")
}

// submitDelete removes the person's account with all that was theirs.
func (s *Server) submitDelete(x *exchange) error {
	in, err := readFields(x, "password")
	if err != nil {
		return err
	}
	if err := s.removeSelf(x, in["password"]); err != nil {
		return s.accountAgain(x, in, err, func(v *accountView) *form { return &v.Delete })
	}
	return seeOther(x, "/signed-out?done=deleted")
}
