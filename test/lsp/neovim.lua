-- Run by neovim.test.ts in a headless Neovim: sets the editor up as docs/editors.md says, edits a config like a user, and writes down what came back.
local seen = {}

local function wait(what, condition)
  if not vim.wait(30000, condition, 20) then
    error(what .. ' did not happen')
  end
end

local function codes()
  return vim.tbl_map(function(each) return each.code end, vim.diagnostic.get(0))
end

local function has(code)
  return function() return vim.tbl_contains(codes(), code) end
end

local function ask(method, params)
  local answers, failure = vim.lsp.buf_request_sync(0, method, params, 30000)
  for _, answer in pairs(answers or {}) do
    return answer.result
  end
  error(method .. ': ' .. tostring(failure))
end

-- At the start of `text` in line `line`, both as a user counts.
local function at(line, text)
  local column = vim.api.nvim_buf_get_lines(0, line - 1, line, true)[1]:find(text, 1, true)
  vim.api.nvim_win_set_cursor(0, { line, column - 1 })
  return vim.lsp.util.make_position_params()
end

local function session()
  dofile(vim.env.QUANTSCOPE_SETUP)
  vim.cmd('edit a.quant.yaml')
  wait('a diagnostic', has('config/missing-key'))
  seen.filetype = vim.bo.filetype

  -- A pattern that matches nothing, completed to one that does: the text that Neovim makes of the answer counts.
  vim.api.nvim_buf_set_lines(0, 1, 1, true, { 'checkpoint: ./m.safetensors' })
  wait('a new diagnostic', has('plan/pattern-matches-nothing'))
  local list = ask('textDocument/completion', at(5, 'q'))
  for _, item in ipairs(list.items or list) do
    if item.label == '**.q' then
      vim.lsp.util.apply_text_edits({ item.textEdit }, 0, 'utf-16')
    end
  end
  wait('the end of the problem', function() return not has('plan/pattern-matches-nothing')() end)
  seen.completed = vim.api.nvim_buf_get_lines(0, 4, 5, true)[1]

  seen.hover = table.concat(vim.lsp.util.convert_input_to_markdown_lines(ask('textDocument/hover', at(5, '**.q')).contents), '\n')
  seen.symbols = vim.tbl_map(function(item) return item.text end, vim.lsp.util.symbols_to_items(ask('textDocument/documentSymbol', { textDocument = vim.lsp.util.make_text_document_params() }), 0))
  seen.folds = #ask('textDocument/foldingRange', { textDocument = vim.lsp.util.make_text_document_params() })
  local references = ask('textDocument/references', vim.tbl_extend('force', at(5, '**.q'), { context = { includeDeclaration = true } }))
  seen.references = vim.tbl_map(function(each) return vim.fn.fnamemodify(vim.uri_to_fname(each.uri), ':t') .. ':' .. each.range.start.line + 1 end, references)

  at(4, '𝒳')
  vim.lsp.buf.rename('renamed')
  wait('the rename', function() return vim.api.nvim_buf_get_lines(0, 3, 4, true)[1]:find('renamed') ~= nil end)
  seen.renamed = vim.api.nvim_buf_get_lines(0, 3, 4, true)[1]

  local client = vim.lsp.get_active_clients()[1]
  if client.supports_method('textDocument/formatting') then
    vim.lsp.buf.formatting_sync(nil, 30000)
  end
  seen.offset_encoding = client.offset_encoding
  client.stop()
  wait('the end of the server', client.is_stopped)
end

local ok, message = pcall(session)
seen.error = not ok and message or nil
vim.fn.writefile({ vim.fn.json_encode(seen) }, vim.env.QUANTSCOPE_ANSWERS)
vim.cmd('qall!')
