'use strict';

const result = document.getElementById('result');

async function call(method, path, body) {
  const options = {method, headers: {}};
  if (body) {
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  const text = await answer.text();
  result.textContent = `${answer.status} ${text.slice(0, 300)}`;
}

function fields(form) {
  return Object.fromEntries(new FormData(form));
}

document.getElementById('login').addEventListener('submit', (event) => {
  event.preventDefault();
  call('POST', '/api/login', fields(event.target));
});

document.getElementById('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  const data = fields(event.target);
  call('POST', '/api/game-requests', {
    game_id: Number(data.game_id),
    players_wanted: Number(data.players_wanted),
    message: data.message,
  });
});

document.querySelector('[data-action=logout]').addEventListener('click', () => call('POST', '/api/logout'));

for (const button of document.querySelectorAll('[data-report]')) {
  button.addEventListener('click', () => call('GET', button.dataset.report));
}
