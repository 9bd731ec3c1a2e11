package commands

// This file has the words that the tables of specs are written in.

func keyArg() Arg { return Arg{Name: "key", Type: ArgKey} }

// word is an optional word without a value.
func word(token string) Arg {
	return Arg{Name: lowerWord(token), Type: ArgWord, Token: token, Optional: true}
}

// plainWord is a word that must stand, or that stands in a choice.
func plainWord(token string) Arg { return Arg{Name: lowerWord(token), Type: ArgWord, Token: token} }

// opt is an optional word with a value.
func opt(token, name string, t ArgType) Arg {
	return valued(token, arg(name, t)).optional()
}

// valued puts a word in front of an argument.
func valued(token string, a Arg) Arg {
	a.Token = token
	return a
}

func arg(name string, t ArgType) Arg { return Arg{Name: name, Type: t} }

func oneOf(name string, args ...Arg) Arg { return Arg{Name: name, Type: ArgOneOf, Args: args} }

func block(name string, args ...Arg) Arg { return Arg{Name: name, Type: ArgBlock, Args: args} }

func (a Arg) optional() Arg {
	a.Optional = true
	return a
}

func (a Arg) multiple() Arg {
	a.Multiple = true
	return a
}

func lowerWord(token string) string {
	b := []byte(token)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}

func integer(means string) Shape { return Shape{ReplyInteger, means} }
func simple(means string) Shape  { return Shape{ReplySimple, means} }
func bulk(means string) Shape    { return Shape{ReplyBulk, means} }
func null(means string) Shape    { return Shape{ReplyNull, means} }
func array(means string) Shape   { return Shape{ReplyArray, means} }
func mapping(means string) Shape { return Shape{ReplyMap, means} }
func prose(means string) Shape   { return Shape{ReplyText, means} }
func closes(means string) Shape  { return Shape{ReplyNone, means} }

func leaseArg() Arg { return opt("LEASE", "milliseconds", ArgInteger) }
func ownerArg() Arg { return opt("OWNER", "label", ArgString) }
func idArg() Arg    { return opt("ID", "request", ArgString) }
func noteArg() Arg  { return opt("NOTE", "text", ArgString) }
func fenceArg() Arg { return opt("FENCE", "fence", ArgInteger) }
