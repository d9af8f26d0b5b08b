// Package docs holds the documents that the program carries with it.
package docs

import _ "embed" // for the documents

// Format is the contract of the image format; zimg-format(5) is made of it.
//
//go:embed FORMAT.md
var Format string

// Formats is about the formats that zimg imports and exports; zimg-formats(7) is made of it.
//
//go:embed FORMATS.md
var Formats string

// JSON is about the JSON that zimg prints and reads; zimg-json(7) is made of it.
//
//go:embed JSON.md
var JSON string

// Schema is the JSON schema of the output of zimg.
//
//go:embed zimg.schema.json
var Schema []byte
