import { DomainError } from '../errors';
import { parseOperationListing, type OperationListing, type OperationListingQuery } from './parse-operation-listing';

describe('parseOperationListing', () => {
  const accepted: [string, OperationListingQuery, OperationListing][] = [
    [
      'newest first, 15 a page, by default',
      { stage: 'final' },
      { stage: 'final', order: 'desc', page: 1, perPage: 15 },
    ],
    [
      'an empty order is the default',
      { stage: 'final', orderBy: '' },
      { stage: 'final', order: 'desc', page: 1, perPage: 15 },
    ],
    [
      'a field alone is descending',
      { stage: 'active', orderBy: 'createdAt' },
      { stage: 'active', order: 'desc', page: 1, perPage: 15 },
    ],
    [
      'an order may be ascending',
      { stage: 'pending', orderBy: ' createdAt  asc ' },
      { stage: 'pending', order: 'asc', page: 1, perPage: 15 },
    ],
    [
      'the final stage has pages',
      { stage: 'final', page: 3, perPage: 100 },
      { stage: 'final', order: 'desc', page: 3, perPage: 100 },
    ],
    ['a page of one', { stage: 'final', perPage: 1 }, { stage: 'final', order: 'desc', page: 1, perPage: 1 }],
  ];

  test.each(accepted)('%s', (_, query, listing) => {
    expect(parseOperationListing(query)).toEqual(listing);
  });

  const refused: [string, OperationListingQuery][] = [
    ['invalid stage filter: ', {}],
    ['invalid stage filter: ', { stage: '' }],
    ['invalid stage filter: Final', { stage: 'Final' }],
    ['invalid sorting parameters number', { stage: 'final', orderBy: 'createdAt asc please' }],
    ['invalid sorting parameters number', { stage: 'final', orderBy: ' ' }],
    ['invalid sorting field: created_at', { stage: 'final', orderBy: 'created_at desc' }],
    ['invalid sorting order: ASC', { stage: 'final', orderBy: 'createdAt ASC' }],
    ['page must be greater than 0', { stage: 'final', page: 0 }],
    ['page size must be between 0 and 100', { stage: 'final', perPage: 0 }],
    ['page size must be between 0 and 100', { stage: 'final', perPage: 101 }],
    ['there is no pagination filter implemented for pending stage', { stage: 'pending', page: 1 }],
    ['there is no pagination filter implemented for active stage', { stage: 'active', perPage: 15 }],
    ['invalid sorting field: name', { stage: 'nowhere', orderBy: 'name', page: 0 }],
    ['page must be greater than 0', { stage: 'nowhere', page: 0, perPage: 0 }],
    ['invalid stage filter: nowhere', { stage: 'nowhere', page: 1 }],
  ];

  test.each(refused)('"%s" for %j', (message, query) => {
    expect(() => parseOperationListing(query)).toThrow(expect.objectContaining({ message, kind: 'invalid_argument' }));
    expect(() => parseOperationListing(query)).toThrow(DomainError);
  });
});
