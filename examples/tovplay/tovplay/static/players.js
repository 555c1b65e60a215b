'use strict';

const result = document.getElementById('result');

async function remove(button) {
  const reason = document.querySelector('#why [name=reason]').value;
  const answer = await fetch(`/api/delete-user/${button.dataset.delete}?reason=${encodeURIComponent(reason)}`, {method: 'DELETE'});
  const body = await answer.json();
  if (answer.ok) button.closest('tr').remove();
  result.textContent = answer.ok ? `Deleted, with ${body.records_deleted - 1} records of that player.` : body.detail;
}

for (const button of document.querySelectorAll('[data-delete]')) {
  button.addEventListener('click', () => remove(button));
}
