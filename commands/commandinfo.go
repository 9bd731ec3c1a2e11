package commands

import "github.com/redlockd/redlockd/resp"

// This file writes the table as COMMAND, COMMAND INFO and COMMAND DOCS show it.

// writeInfo writes one command as COMMAND INFO does, since Redis 7.
func writeInfo(w *resp.Writer, s *Spec) {
	first, step := int64(0), int64(0)
	if s.Key != KeyNone {
		first, step = 1, 1
	}
	w.Array(10)
	w.BulkString(s.full)
	w.Int(int64(s.Arity))
	simpleSet(w, s.Flags.names())
	w.Int(first)
	w.Int(first)
	w.Int(step)
	cats := s.categories()
	for i := range cats {
		cats[i] = "@" + cats[i]
	}
	simpleSet(w, cats)
	w.Set(len(s.Tips))
	for _, tip := range s.Tips {
		w.BulkString(tip)
	}
	writeKeySpecs(w, s.Key)
	if len(s.Subs) == 0 {
		w.Set(0)
		return
	}
	w.Array(len(s.Subs))
	for _, sub := range s.Subs {
		writeInfo(w, sub)
	}
}

func simpleSet(w *resp.Writer, words []string) {
	w.Set(len(words))
	for _, word := range words {
		w.Simple(word)
	}
}

// writeKeySpecs says where the key is: one, at argument 1.
func writeKeySpecs(w *resp.Writer, use KeyUse) {
	if use == KeyNone {
		w.Set(0)
		return
	}
	w.Set(1)
	w.Map(3)
	w.BulkString("flags")
	simpleSet(w, use.flags())
	w.BulkString("begin_search")
	w.Map(2)
	text(w, "type", "index")
	w.BulkString("spec")
	w.Map(1)
	number(w, "index", 1)
	w.BulkString("find_keys")
	w.Map(2)
	text(w, "type", "range")
	w.BulkString("spec")
	w.Map(3)
	number(w, "lastkey", 0)
	number(w, "keystep", 1)
	number(w, "limit", 0)
}

// writeDocs writes one command as COMMAND DOCS does. arguments is written even
// where there are none, because redis-cli shows "(null)" without it.
func writeDocs(w *resp.Writer, s *Spec) {
	fields := 4
	if s.Complexity != "" {
		fields++
	}
	if len(s.Subs) > 0 {
		fields++
	}
	w.Map(fields)
	text(w, "summary", s.Summary)
	text(w, "since", s.Since)
	text(w, "group", s.Group)
	if s.Complexity != "" {
		text(w, "complexity", s.Complexity)
	}
	w.BulkString("arguments")
	writeArgs(w, s.Args)
	if len(s.Subs) > 0 {
		w.BulkString("subcommands")
		w.Map(len(s.Subs))
		for _, sub := range s.Subs {
			w.BulkString(sub.full)
			writeDocs(w, sub)
		}
	}
}

func writeArgs(w *resp.Writer, args []Arg) {
	w.Array(len(args))
	for _, a := range args {
		nested := a.Type == ArgOneOf || a.Type == ArgBlock
		flags := argFlags(a)
		w.Map(3 + boolInt(a.Type == ArgKey) + boolInt(a.Token != "") + boolInt(len(flags) > 0))
		text(w, "name", a.Name)
		text(w, "type", a.Type.String())
		if !nested {
			text(w, "display_text", a.Name)
		}
		if a.Type == ArgKey {
			number(w, "key_spec_index", 0)
		}
		if a.Token != "" {
			text(w, "token", a.Token)
		}
		if len(flags) > 0 {
			w.BulkString("flags")
			simpleSet(w, flags)
		}
		if nested {
			w.BulkString("arguments")
			writeArgs(w, a.Args)
		}
	}
}

func argFlags(a Arg) []string {
	var flags []string
	if a.Optional {
		flags = append(flags, "optional")
	}
	if a.Multiple {
		flags = append(flags, "multiple")
	}
	return flags
}
